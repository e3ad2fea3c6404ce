"""OAuth apps, grants, connect links and moves

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("about", sa.String(length=60), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("text_id", sa.Uuid(), nullable=True),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["text_id"], ["sealed_secret.id"], name=op.f("fk_notice_text_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notice_about"), ["about"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_next_try_at"), ["next_try_at"], unique=False)

    op.create_table(
        "oauth_app",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("client_auth", sa.String(length=20), nullable=False),
        sa.Column("secret_id", sa.Uuid(), nullable=True),
        sa.Column("secret_ends_on", sa.Date(), nullable=True),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("certificate_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("cloud", sa.String(length=20), nullable=False),
        sa.Column("publishing", sa.String(length=20), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("authorize_url", sa.String(length=500), nullable=False),
        sa.Column("token_url", sa.String(length=500), nullable=False),
        sa.Column("jwks_url", sa.String(length=500), nullable=False),
        sa.Column("userinfo_url", sa.String(length=500), nullable=False),
        sa.Column("revocation_url", sa.String(length=500), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("app_scopes", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("service_account", sa.String(length=254), nullable=False),
        sa.Column("service_key_id", sa.Uuid(), nullable=True),
        sa.Column("verify_mailbox", sa.String(length=254), nullable=False),
        sa.Column("verify_wanted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verify_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verification", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["sealed_secret.id"], name=op.f("fk_oauth_app_key_id")),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["provider.id"], name=op.f("fk_oauth_app_provider_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["secret_id"], ["sealed_secret.id"], name=op.f("fk_oauth_app_secret_id")),
        sa.ForeignKeyConstraint(["service_key_id"], ["sealed_secret.id"], name=op.f("fk_oauth_app_service_key_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_app")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_oauth_app_provider_id")),
    )
    op.create_table(
        "kept_password",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("secret_id", sa.Uuid(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_kept_password_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["secret_id"], ["sealed_secret.id"], name=op.f("fk_kept_password_secret_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kept_password")),
        sa.UniqueConstraint("account_id", name=op.f("uq_kept_password_account_id")),
    )
    with op.batch_alter_table("kept_password", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_kept_password_ends_at"), ["ends_at"], unique=False)

    op.create_table(
        "oauth_attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("app_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("binder_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("redirect_uri", sa.String(length=500), nullable=False),
        sa.Column("came_from", sa.String(length=20), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("from_address", sa.String(length=60), nullable=False),
        sa.Column("is_delegate", sa.Boolean(), nullable=False),
        sa.Column("secret_id", sa.Uuid(), nullable=True),
        sa.Column("identity", sa.String(length=254), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("account_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_category", sa.String(length=20), nullable=True),
        sa.Column("failed_code", sa.String(length=80), nullable=False),
        sa.Column("failed_message", sa.Text(), nullable=False),
        sa.Column("failed_detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_oauth_attempt_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["app_id"], ["oauth_app.id"], name=op.f("fk_oauth_attempt_app_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_oauth_attempt_person_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["secret_id"], ["sealed_secret.id"], name=op.f("fk_oauth_attempt_secret_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_attempt")),
        sa.UniqueConstraint("state_hash", name=op.f("uq_oauth_attempt_state_hash")),
    )
    with op.batch_alter_table("oauth_attempt", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_oauth_attempt_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_oauth_attempt_app_id"), ["app_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_oauth_attempt_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_oauth_attempt_state"), ["state"], unique=False)

    op.create_table(
        "oauth_grant",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("app_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("identity", sa.String(length=254), nullable=False),
        sa.Column("is_delegate", sa.Boolean(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("refresh_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_category", sa.String(length=20), nullable=True),
        sa.Column("failed_permanent", sa.Boolean(), nullable=False),
        sa.Column("failed_code", sa.String(length=80), nullable=False),
        sa.Column("failed_message", sa.Text(), nullable=False),
        sa.Column("failed_detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_oauth_grant_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["app_id"], ["oauth_app.id"], name=op.f("fk_oauth_grant_app_id")),
        sa.ForeignKeyConstraint(["refresh_id"], ["sealed_secret.id"], name=op.f("fk_oauth_grant_refresh_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_grant")),
        sa.UniqueConstraint("account_id", name=op.f("uq_oauth_grant_account_id")),
    )
    with op.batch_alter_table("oauth_grant", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_oauth_grant_app_id"), ["app_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_oauth_grant_wanted_at"), ["wanted_at"], unique=False)

    op.create_table(
        "invite",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=254), nullable=False),
        sa.Column("send_to", sa.String(length=254), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("invited_by_id", sa.Integer(), nullable=True),
        sa.Column("invited_by_name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("asked_again_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ending", sa.String(length=20), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=True),
        sa.Column("check_id", sa.Integer(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_invite_account_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["oauth_attempt.id"], name=op.f("fk_invite_attempt_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["check_id"], ["connection_check.id"], name=op.f("fk_invite_check_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["invited_by_id"], ["person.id"], name=op.f("fk_invite_invited_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invite")),
    )
    with op.batch_alter_table("invite", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_invite_account_id"), ["account_id"], unique=False)
        batch_op.create_index(
            "uq_invite_open",
            ["account_id"],
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )

    op.create_table(
        "move",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("way", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("invite_id", sa.Integer(), nullable=True),
        sa.Column("attempt_id", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("requested_by_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_move_account_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["oauth_attempt.id"], name=op.f("fk_move_attempt_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["invite_id"], ["invite.id"], name=op.f("fk_move_invite_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["requested_by_id"], ["person.id"], name=op.f("fk_move_requested_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_move")),
        sa.UniqueConstraint("account_id", name=op.f("uq_move_account_id")),
    )
    with op.batch_alter_table("move", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_move_state"), ["state"], unique=False)

    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_system_mail", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("asked_owner_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index(
            "uq_account_system_mail",
            ["is_system_mail"],
            unique=True,
            sqlite_where=sa.text("is_system_mail AND deleting_at IS NULL"),
            postgresql_where=sa.text("is_system_mail AND deleting_at IS NULL"),
        )

    with op.batch_alter_table("connection_check", schema=None) as batch_op:
        batch_op.add_column(sa.Column("attempt_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("renewed", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.create_foreign_key(
            batch_op.f("fk_connection_check_attempt_id"), "oauth_attempt", ["attempt_id"], ["id"], ondelete="SET NULL"
        )
        batch_op.create_index(batch_op.f("ix_connection_check_attempt_id"), ["attempt_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("connection_check", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_connection_check_attempt_id"))
        batch_op.drop_constraint(batch_op.f("fk_connection_check_attempt_id"), type_="foreignkey")
        batch_op.drop_column("renewed")
        batch_op.drop_column("attempt_id")

    with op.batch_alter_table("account", schema=None, table_kwargs={"sqlite_autoincrement": True}) as batch_op:
        batch_op.drop_index(
            "uq_account_system_mail",
            sqlite_where=sa.text("is_system_mail AND deleting_at IS NULL"),
            postgresql_where=sa.text("is_system_mail AND deleting_at IS NULL"),
        )
        batch_op.drop_column("asked_owner_at")
        batch_op.drop_column("is_system_mail")

    with op.batch_alter_table("move", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_move_state"))

    op.drop_table("move")
    with op.batch_alter_table("invite", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_invite_open", sqlite_where=sa.text("ended_at IS NULL"), postgresql_where=sa.text("ended_at IS NULL")
        )
        batch_op.drop_index(batch_op.f("ix_invite_account_id"))

    op.drop_table("invite")
    with op.batch_alter_table("oauth_grant", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_oauth_grant_wanted_at"))
        batch_op.drop_index(batch_op.f("ix_oauth_grant_app_id"))

    op.drop_table("oauth_grant")
    with op.batch_alter_table("oauth_attempt", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_oauth_attempt_state"))
        batch_op.drop_index(batch_op.f("ix_oauth_attempt_created_at"))
        batch_op.drop_index(batch_op.f("ix_oauth_attempt_app_id"))
        batch_op.drop_index(batch_op.f("ix_oauth_attempt_account_id"))

    op.drop_table("oauth_attempt")
    with op.batch_alter_table("kept_password", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_kept_password_ends_at"))

    op.drop_table("kept_password")
    op.drop_table("oauth_app")
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notice_next_try_at"))
        batch_op.drop_index(batch_op.f("ix_notice_about"))

    op.drop_table("notice")
