"""What other folders may ask of OAuth: apps, attempts to get a grant, grants and the way back to a password."""

from mailadmin.oauth.apps import app_of, can, client_of, holds_secrets, redirect_uri, why_not
from mailadmin.oauth.asking import ask
from mailadmin.oauth.consent import (
    OWNERS,
    WRONG_IDENTITY,
    accept_delegate,
    begin,
    begin_alone,
    failure_of,
    forget_old_attempts,
    get_attempt,
    receive,
    refuse,
)
from mailadmin.oauth.expiry import Trouble
from mailadmin.oauth.expiry import alarms as app_alarms
from mailadmin.oauth.expiry import troubles as app_troubles
from mailadmin.oauth.grants import (
    app_changed,
    destroy_old_passwords,
    forget_account,
    forget_kept,
    forget_orphans,
    fresh_among,
    grant_of,
    is_dead,
    is_fresh,
    kept_password,
    next_try_at,
    restore_password,
    secrets_of,
    take_grant,
    trouble_of,
    want_idle,
    want_token,
    why_astray,
    wish_with,
)
from mailadmin.oauth.refresh import make_fresh
from mailadmin.oauth.revoking import revoke_of, revoke_waiting
from mailadmin.oauth.revoking import waiting as waiting_revocations
from mailadmin.oauth.saving import AppRefused, AppWish, need_apps
from mailadmin.oauth.saving import delete as delete_app
from mailadmin.oauth.saving import edition as app_edition
from mailadmin.oauth.saving import forget as forget_app_secrets
from mailadmin.oauth.saving import save as save_app
from mailadmin.oauth.saving import secrets_of as app_secrets
from mailadmin.oauth.saving import settled as settled_app
from mailadmin.oauth.saving import users as app_users
from mailadmin.oauth.saving import wish_from as app_from
from mailadmin.oauth.saving import wish_of as app_wish_of
from mailadmin.oauth.verify import is_running as is_verifying
from mailadmin.oauth.verify import verify
from mailadmin.oauth.verify import want as want_verification

__all__ = [
    "OWNERS",
    "WRONG_IDENTITY",
    "AppRefused",
    "AppWish",
    "Trouble",
    "accept_delegate",
    "app_alarms",
    "app_changed",
    "app_edition",
    "app_from",
    "app_of",
    "app_secrets",
    "app_troubles",
    "app_users",
    "app_wish_of",
    "ask",
    "begin",
    "begin_alone",
    "can",
    "client_of",
    "delete_app",
    "destroy_old_passwords",
    "failure_of",
    "forget_account",
    "forget_app_secrets",
    "forget_kept",
    "forget_old_attempts",
    "forget_orphans",
    "fresh_among",
    "get_attempt",
    "grant_of",
    "holds_secrets",
    "is_dead",
    "is_fresh",
    "is_verifying",
    "kept_password",
    "make_fresh",
    "need_apps",
    "next_try_at",
    "receive",
    "redirect_uri",
    "refuse",
    "restore_password",
    "revoke_of",
    "revoke_waiting",
    "save_app",
    "secrets_of",
    "settled_app",
    "take_grant",
    "trouble_of",
    "verify",
    "waiting_revocations",
    "want_idle",
    "want_token",
    "want_verification",
    "why_astray",
    "why_not",
    "wish_with",
]
