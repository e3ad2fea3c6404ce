"""Changes, texts, threads, audits, access and sign-in

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Full-text search: a virtual table kept by triggers, or an index.
ON_SQLITE = (
    "CREATE VIRTUAL TABLE message_words USING fts5(heading, text, content='message_text', content_rowid='message_id', tokenize='unicode61 remove_diacritics 2')",
    "CREATE TRIGGER message_words_in AFTER INSERT ON message_text BEGIN INSERT INTO message_words (rowid, heading, text) VALUES (new.message_id, new.heading, new.text); END",
    "CREATE TRIGGER message_words_out AFTER DELETE ON message_text BEGIN INSERT INTO message_words (message_words, rowid, heading, text) VALUES ('delete', old.message_id, old.heading, old.text); END",
    "CREATE TRIGGER message_words_again AFTER UPDATE OF heading, text ON message_text BEGIN INSERT INTO message_words (message_words, rowid, heading, text) VALUES ('delete', old.message_id, old.heading, old.text); INSERT INTO message_words (rowid, heading, text) VALUES (new.message_id, new.heading, new.text); END",
)
ON_POSTGRESQL = (
    "CREATE INDEX ix_message_text_words ON message_text USING gin (to_tsvector('simple', heading || ' ' || text))",
)


def upgrade() -> None:
    op.create_table(
        "custom_role",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("permissions", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_role")),
        sa.UniqueConstraint("name", name=op.f("uq_custom_role_name")),
    )
    op.create_table(
        "failing_host",
        sa.Column("host", sa.String(length=260), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_failing_host")),
    )
    op.create_table(
        "sign_in_provider",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("secret_id", sa.Uuid(), nullable=True),
        sa.Column("domains", sa.Text(), nullable=False),
        sa.Column("adds_people", sa.Boolean(), nullable=False),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["secret_id"], ["sealed_secret.id"], name=op.f("fk_sign_in_provider_secret_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_provider")),
        sa.UniqueConstraint("issuer", name=op.f("uq_sign_in_provider_issuer")),
        sa.UniqueConstraint("name", name=op.f("uq_sign_in_provider_name")),
    )
    op.create_table(
        "passkey",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("signed", sa.BigInteger(), nullable=False),
        sa.Column("transports", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_passkey_person_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkey_credential_id")),
    )
    with op.batch_alter_table("passkey", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_passkey_person_id"), ["person_id"], unique=False)

    op.create_table(
        "recovery_code",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_recovery_code_person_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_code")),
    )
    with op.batch_alter_table("recovery_code", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_recovery_code_person_id"), ["person_id"], unique=False)

    op.create_table(
        "team_member",
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_team_member_person_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_team_member_team_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("team_id", "person_id", name=op.f("pk_team_member")),
    )
    with op.batch_alter_table("team_member", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_team_member_person_id"), ["person_id"], unique=False)

    op.create_table(
        "ticket",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("kept_id", sa.Uuid(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("made_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["kept_id"], ["sealed_secret.id"], name=op.f("fk_ticket_kept_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_ticket_person_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_ticket_code_hash")),
    )
    with op.batch_alter_table("ticket", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ticket_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_ticket_person_id"), ["person_id"], unique=False)

    op.create_table(
        "access",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("may_write", sa.Boolean(), nullable=False),
        sa.Column("may_send", sa.Boolean(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("position between 1 and 5", name=op.f("ck_access_position")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_access_account_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_access_person_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access")),
        sa.UniqueConstraint("person_id", "account_id", name=op.f("uq_access_person_id_account_id")),
        sa.UniqueConstraint("person_id", "position", name=op.f("uq_access_person_id_position")),
    )
    with op.batch_alter_table("access", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_access_account_id"), ["account_id"], unique=False)
        batch_op.create_index(
            "uq_access_primary",
            ["person_id"],
            unique=True,
            sqlite_where=sa.text("is_primary"),
            postgresql_where=sa.text("is_primary"),
        )

    op.create_table(
        "message_name",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("thread_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_message_name_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "name_hash", name=op.f("pk_message_name")),
    )
    with op.batch_alter_table("message_name", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_message_name_thread_id"), ["thread_id"], unique=False)

    op.create_table(
        "message_contact",
        sa.Column("message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("is_sender", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name=op.f("fk_message_contact_contact_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name=op.f("fk_message_contact_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "contact_id", name=op.f("pk_message_contact")),
    )
    with op.batch_alter_table("message_contact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_message_contact_contact_id"), ["contact_id"], unique=False)

    op.create_table(
        "message_text",
        sa.Column("message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("heading", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("is_cut", sa.Boolean(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name=op.f("fk_message_text_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message_text")),
    )
    for statement in ON_SQLITE if op.get_bind().dialect.name == "sqlite" else ON_POSTGRESQL:
        op.execute(statement)
    op.create_table(
        "pending_change",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("folder_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("added", sa.String(length=500), nullable=False),
        sa.Column("removed", sa.String(length=500), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("subject", sa.String(length=998), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_pending_change_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folder.id"], name=op.f("fk_pending_change_folder_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name=op.f("fk_pending_change_message_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_pending_change_person_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["folder.id"], name=op.f("fk_pending_change_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_change")),
    )
    with op.batch_alter_table("pending_change", schema=None) as batch_op:
        batch_op.create_index("ix_pending_change_account_id_state", ["account_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_pending_change_finished_at"), ["finished_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_pending_change_folder_id"), ["folder_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_pending_change_message_id"), ["message_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_pending_change_person_id"), ["person_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_pending_change_target_id"), ["target_id"], unique=False)

    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.add_column(sa.Column("audited_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("audit_agrees", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("watched_since", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("waits_until", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("waits_reason", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("keep_months", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("visibility", sa.String(length=20), nullable=False, server_default="nothing"))
        batch_op.create_index(
            "ix_account_partial",
            ["id"],
            unique=False,
            sqlite_where=sa.text("incomplete != '' AND deleting_at IS NULL"),
            postgresql_where=sa.text("incomplete != '' AND deleting_at IS NULL"),
        )

    with op.batch_alter_table("activity", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=20), nullable=False, server_default=""))
        batch_op.create_index(batch_op.f("ix_activity_kind"), ["kind"], unique=False)

    op.execute(
        "UPDATE activity SET kind = CASE WHEN account_id IS NOT NULL THEN 'accounts'"
        " WHEN what LIKE '%sign%in%' OR what LIKE 'signed out%' THEN 'sign-ins'"
        " WHEN what LIKE '%provider%' OR what LIKE '%OAuth app%' THEN 'providers' ELSE 'settings' END"
    )
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.add_column(sa.Column("key", sa.String(length=254), nullable=False, server_default=""))

    # Addresses were unique so far; the next mail brings those together that differ after a plus sign.
    op.execute("UPDATE contact SET key = address")
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_contact_address"), type_="unique")
        batch_op.create_unique_constraint(batch_op.f("uq_contact_key"), ["key"])

    with op.batch_alter_table("folder", schema=None) as batch_op:
        batch_op.add_column(sa.Column("object_id", sa.String(length=255), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("audited_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("audit", sa.JSON(none_as_null=True), nullable=True))

    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.add_column(sa.Column("refers_to", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("recipients", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("is_bulk", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("content_hash", sa.LargeBinary(length=16), nullable=True))
        batch_op.add_column(sa.Column("email_id", sa.String(length=255), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("labels", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("thread_id", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("is_settled", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("preview", sa.String(length=300), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("has_attachments", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("has_text", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.create_index("ix_message_content_hash", ["content_hash"], unique=False)
        batch_op.create_index(
            "ix_message_textless",
            ["folder_id"],
            unique=False,
            sqlite_where=sa.text("NOT has_text"),
            postgresql_where=sa.text("NOT has_text"),
        )
        batch_op.create_index("ix_message_thread_id", ["thread_id"], unique=False)
        batch_op.create_index(
            "ix_message_unsettled",
            ["folder_id"],
            unique=False,
            sqlite_where=sa.text("NOT is_settled"),
            postgresql_where=sa.text("NOT is_settled"),
        )

    with op.batch_alter_table("organisation", schema=None) as batch_op:
        batch_op.add_column(sa.Column("own_domains", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("free_mail_contacts", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("text_kilobytes", sa.Integer(), nullable=False, server_default="256"))
        batch_op.add_column(
            sa.Column("team_accounts_use_slots", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(
            sa.Column("teams_have_many_accounts", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(
            sa.Column("requires_second_factor", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(sa.Column("activity_months", sa.Integer(), nullable=False, server_default="24"))

    with op.batch_alter_table("person", schema=None) as batch_op:
        batch_op.add_column(sa.Column("custom_role_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("time_zone", sa.String(length=60), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("signature", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("totp_id", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("totp_since", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("totp_step", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("issuer", sa.String(length=500), nullable=True))
        batch_op.add_column(sa.Column("subject", sa.String(length=255), nullable=True))
        batch_op.create_index(batch_op.f("ix_person_custom_role_id"), ["custom_role_id"], unique=False)
        batch_op.create_unique_constraint(batch_op.f("uq_person_issuer_subject"), ["issuer", "subject"])
        batch_op.create_foreign_key(batch_op.f("fk_person_custom_role_id"), "custom_role", ["custom_role_id"], ["id"])
        batch_op.create_foreign_key(batch_op.f("fk_person_totp_id"), "sealed_secret", ["totp_id"], ["id"])

    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.add_column(sa.Column("method", sa.String(length=20), nullable=False, server_default="password"))
        batch_op.add_column(sa.Column("has_second_factor", sa.Boolean(), nullable=False, server_default=sa.false()))

    with op.batch_alter_table("sync_run", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=20), nullable=False, server_default="usual"))
        batch_op.add_column(sa.Column("pushed", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("found", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("sync_run", schema=None) as batch_op:
        batch_op.drop_column("found")
        batch_op.drop_column("pushed")
        batch_op.drop_column("kind")

    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.drop_column("has_second_factor")
        batch_op.drop_column("method")

    with op.batch_alter_table("person", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_person_totp_id"), type_="foreignkey")
        batch_op.drop_constraint(batch_op.f("fk_person_custom_role_id"), type_="foreignkey")
        batch_op.drop_constraint(batch_op.f("uq_person_issuer_subject"), type_="unique")
        batch_op.drop_index(batch_op.f("ix_person_custom_role_id"))
        batch_op.drop_column("subject")
        batch_op.drop_column("issuer")
        batch_op.drop_column("totp_step")
        batch_op.drop_column("totp_since")
        batch_op.drop_column("totp_id")
        batch_op.drop_column("signature")
        batch_op.drop_column("time_zone")
        batch_op.drop_column("seen_at")
        batch_op.drop_column("custom_role_id")

    with op.batch_alter_table("organisation", schema=None) as batch_op:
        batch_op.drop_column("activity_months")
        batch_op.drop_column("requires_second_factor")
        batch_op.drop_column("teams_have_many_accounts")
        batch_op.drop_column("team_accounts_use_slots")
        batch_op.drop_column("text_kilobytes")
        batch_op.drop_column("free_mail_contacts")
        batch_op.drop_column("own_domains")

    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_message_unsettled", sqlite_where=sa.text("NOT is_settled"), postgresql_where=sa.text("NOT is_settled")
        )
        batch_op.drop_index(
            "ix_message_textless", sqlite_where=sa.text("NOT has_text"), postgresql_where=sa.text("NOT has_text")
        )
        batch_op.drop_index("ix_message_thread_id")
        batch_op.drop_index("ix_message_content_hash")
        batch_op.drop_column("has_text")
        batch_op.drop_column("has_attachments")
        batch_op.drop_column("preview")
        batch_op.drop_column("is_settled")
        batch_op.drop_column("thread_id")
        batch_op.drop_column("labels")
        batch_op.drop_column("email_id")
        batch_op.drop_column("content_hash")
        batch_op.drop_column("is_bulk")
        batch_op.drop_column("recipients")
        batch_op.drop_column("refers_to")

    with op.batch_alter_table("folder", schema=None) as batch_op:
        batch_op.drop_column("audit")
        batch_op.drop_column("audited_at")
        batch_op.drop_column("object_id")

    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_contact_key"), type_="unique")
        batch_op.create_unique_constraint(batch_op.f("uq_contact_address"), ["address"])
        batch_op.drop_column("key")

    with op.batch_alter_table("activity", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_activity_kind"))
        batch_op.drop_column("kind")

    with op.batch_alter_table("account", schema=None, table_kwargs={"sqlite_autoincrement": True}) as batch_op:
        batch_op.drop_index(
            "ix_account_partial",
            sqlite_where=sa.text("incomplete != '' AND deleting_at IS NULL"),
            postgresql_where=sa.text("incomplete != '' AND deleting_at IS NULL"),
        )
        batch_op.drop_column("visibility")
        batch_op.drop_column("keep_months")
        batch_op.drop_column("waits_reason")
        batch_op.drop_column("waits_until")
        batch_op.drop_column("watched_since")
        batch_op.drop_column("audit_agrees")
        batch_op.drop_column("audited_at")

    with op.batch_alter_table("pending_change", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pending_change_target_id"))
        batch_op.drop_index(batch_op.f("ix_pending_change_person_id"))
        batch_op.drop_index(batch_op.f("ix_pending_change_message_id"))
        batch_op.drop_index(batch_op.f("ix_pending_change_folder_id"))
        batch_op.drop_index(batch_op.f("ix_pending_change_finished_at"))
        batch_op.drop_index("ix_pending_change_account_id_state")

    op.drop_table("pending_change")
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("message_words")
    op.drop_table("message_text")
    with op.batch_alter_table("message_contact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_message_contact_contact_id"))

    op.drop_table("message_contact")
    with op.batch_alter_table("message_name", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_message_name_thread_id"))

    op.drop_table("message_name")
    with op.batch_alter_table("access", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_access_primary", sqlite_where=sa.text("is_primary"), postgresql_where=sa.text("is_primary")
        )
        batch_op.drop_index(batch_op.f("ix_access_account_id"))

    op.drop_table("access")
    with op.batch_alter_table("ticket", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ticket_person_id"))
        batch_op.drop_index(batch_op.f("ix_ticket_expires_at"))

    op.drop_table("ticket")
    with op.batch_alter_table("team_member", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_team_member_person_id"))

    op.drop_table("team_member")
    with op.batch_alter_table("recovery_code", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recovery_code_person_id"))

    op.drop_table("recovery_code")
    with op.batch_alter_table("passkey", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_passkey_person_id"))

    op.drop_table("passkey")
    op.drop_table("sign_in_provider")
    op.drop_table("failing_host")
    op.drop_table("custom_role")
