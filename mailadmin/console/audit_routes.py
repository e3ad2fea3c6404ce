"""The audit log: who did what, and when."""

from flask import Response, request, stream_with_context
from wtforms import DateField, SelectField
from wtforms.validators import Optional

from mailadmin import db, web
from mailadmin.activity.service import ActivityKind
from mailadmin.console import audit
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import SearchForm
from mailadmin.console.times import day_and_time
from mailadmin.form import options
from mailadmin.people.models import initials
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

_WORDS = {"when": day_and_time, "initials": initials}


class AuditFilter(SearchForm):
    """What narrows the audit log, read from its address; what makes no sense counts as empty."""

    kind = SelectField(validate_choice=False)
    first = DateField(validators=[Optional()])
    last = DateField(validators=[Optional()])

    def __init__(self) -> None:
        super().__init__(request.args, label=t("Person, account or address"))
        self.kind.label.text, self.first.label.text, self.last.label.text = t("Action"), t("From"), t("To")
        kinds = [(kind.value, t(kind.capitalize())) for kind in ActivityKind]
        self.kind.choices = options([("", t("All actions")), *kinds])
        self.validate()

    def wanted(self) -> audit.Wanted:
        """The filter as the queries want it."""
        known = {kind.value: kind for kind in ActivityKind}
        return audit.Wanted(self.words(), known.get(self.kind.data or ""), self.first.data, self.last.data)


@bp.get("/audit")
@web.allow(Permission.SEE_ACTIVITY)
def audit_log() -> Answer:
    form = AuditFilter()
    found = audit.find(db.session(), form.wanted(), page=request.args.get("page", 1, int))
    given = {name: value for name, value in request.args.items() if value and name != "page"}
    return web.page("console/audit.html", form=form, found=found, given=given, say=_WORDS)


@bp.get("/audit.csv")
@web.allow(Permission.SEE_ACTIVITY)
def audit_csv() -> Response:
    lines = audit.as_csv(db.session(), AuditFilter().wanted())
    answer = Response(stream_with_context(lines), mimetype="text/csv")
    answer.headers["Content-Disposition"] = "attachment; filename=audit-log.csv"
    return answer
