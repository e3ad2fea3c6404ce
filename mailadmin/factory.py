"""The web process: a Flask application put together from the blueprints."""

from typing import Any

from flask import Flask
from flask_login import LoginManager
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from mailadmin import boot, queue, web
from mailadmin.config import ROOT, Settings
from mailadmin.connections import attempt_routes
from mailadmin.connections import routes as connections
from mailadmin.console import company_routes as organisation
from mailadmin.console import frame
from mailadmin.console import provider_routes as providers
from mailadmin.console import routes as console
from mailadmin.invites import own_routes
from mailadmin.invites import routes as invites
from mailadmin.mailbox import action_routes as mailbox_actions
from mailadmin.mailbox import reading_routes as mailbox
from mailadmin.mailbox import writing_end_routes as writing
from mailadmin.moves import routes as moves
from mailadmin.oauth import routes as oauth
from mailadmin.people import factor_routes, passkey_routes, single_sign_on_routes
from mailadmin.people import routes as people
from mailadmin.sync import dry_routes
from mailadmin.sync import routes as sync
from mailadmin.wizard import routes as wizard
from mailadmin.wizard import settings_routes, step_routes

YEAR_SECONDS = 365 * 24 * 3600
REQUEST_BYTES = 1_000_000
QUEUE_PATIENCE = 1.0  # seconds that a page waits for the queue, which may hang


def create_app(settings: Settings) -> Flask:
    """The console as a WSGI application, for the installation that `settings` describe."""
    boot.start(settings, queue_patience=QUEUE_PATIENCE)
    app = Flask("mailadmin", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "mailadmin/static"))
    app.config.update(_configuration(settings))
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    if settings.proxies:
        n = settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_host=n)  # type: ignore[method-assign]
    CSRFProtect(app)
    web.limiter.init_app(app)
    # Templates get `me` from the frame. Flask-Login's own would ask the database, on error pages too.
    logins = LoginManager(app, add_context_processor=False)
    logins.session_protection = None  # Sessions are rows, see people.service.
    logins.user_loader(people.load_signed_in)
    web.furnish(app)
    app.before_request(factor_routes.insist)
    low = (
        organisation,
        people,
        factor_routes,
        passkey_routes,
        single_sign_on_routes,
        providers,
        oauth,
        connections,
        attempt_routes,
        invites,
        own_routes,
        sync,
        dry_routes,
        mailbox,
        mailbox_actions,
        writing,
    )
    high = (moves, wizard, step_routes, settings_routes, console)
    for bp in dict.fromkeys(module.bp for module in (*low, *high)):  # One blueprint may stand in several modules.
        app.register_blueprint(bp)
    app.context_processor(frame.context)
    return app


def _configuration(settings: Settings) -> dict[str, Any]:
    secure = settings.secure_cookies
    return {
        "SECRET_KEY": settings.secret_key,
        "SESSION_COOKIE_NAME": "__Host-session" if secure else "session",
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "WTF_CSRF_TIME_LIMIT": None,  # the token lives as long as the session
        "MAX_CONTENT_LENGTH": REQUEST_BYTES,
        "MAX_FORM_MEMORY_SIZE": REQUEST_BYTES,
        "SEND_FILE_MAX_AGE_DEFAULT": YEAR_SECONDS,
        "RATELIMIT_STORAGE_URI": _limits_url(settings.redis_url),
        "RATELIMIT_STORAGE_OPTIONS": {
            **queue.patient(QUEUE_PATIENCE),
            **({} if settings.redis_tls_verify else {"ssl_cert_reqs": "none"}),
        },
    }


def _limits_url(redis_url: str) -> str:
    """The queue's address as `limits` writes it."""
    return f"redis+{redis_url}" if redis_url.startswith("unix:") else redis_url
