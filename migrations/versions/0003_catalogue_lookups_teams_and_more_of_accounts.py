"""Catalogue, lookups, teams, contacts and more of accounts

Revision ID: 0003
Revises: 0002
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lookup",
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("found", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_lookup")),
    )
    op.create_table(
        "team",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team")),
        sa.UniqueConstraint("name", name=op.f("uq_team_name")),
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_contact_account_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
        sa.UniqueConstraint("address", name=op.f("uq_contact_address")),
    )
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_contact_account_id"), ["account_id"], unique=False)

    op.create_table(
        "pop_message",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("folder_id", sa.Integer(), nullable=False),
        sa.Column("uidl", sa.String(length=70), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folder.id"], name=op.f("fk_pop_message_folder_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pop_message")),
        sa.UniqueConstraint("folder_id", "uid", name=op.f("uq_pop_message_folder_id_uid")),
        sa.UniqueConstraint("folder_id", "uidl", name=op.f("uq_pop_message_folder_id_uidl")),
    )
    # On SQLite the number of a deleted account would go to the next one, and with it what the trail says of it.
    with op.batch_alter_table("account", schema=None, table_kwargs={"sqlite_autoincrement": True}) as batch_op:
        batch_op.add_column(sa.Column("slug", sa.String(length=60), nullable=True))
        batch_op.add_column(sa.Column("team_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("is_primary", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("notes", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("sender_address", sa.String(length=254), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("protocol", sa.String(length=20), nullable=False, server_default="imap"))
        batch_op.add_column(sa.Column("login_format", sa.String(length=20), nullable=True))
        batch_op.add_column(sa.Column("sent_copies", sa.String(length=20), nullable=False, server_default="automatic"))
        batch_op.add_column(sa.Column("new_contacts", sa.String(length=20), nullable=False, server_default="nobody"))
        batch_op.add_column(sa.Column("sent_folder", sa.String(length=1000), nullable=False, server_default=""))
        batch_op.create_index(batch_op.f("ix_account_team_id"), ["team_id"], unique=False)
        batch_op.create_index(
            "ix_account_state",
            ["health", "outgoing_health", "is_set_up", "running_since"],
            unique=False,
            sqlite_where=sa.text("deleting_at IS NULL"),
            postgresql_where=sa.text("deleting_at IS NULL"),
        )
        batch_op.create_index(
            "uq_account_primary",
            ["is_primary"],
            unique=True,
            sqlite_where=sa.text("is_primary AND deleting_at IS NULL"),
            postgresql_where=sa.text("is_primary AND deleting_at IS NULL"),
        )
        batch_op.create_index(
            "uq_account_slug",
            ["slug"],
            unique=True,
            sqlite_where=sa.text("deleting_at IS NULL"),
            postgresql_where=sa.text("deleting_at IS NULL"),
        )
        batch_op.create_foreign_key(batch_op.f("fk_account_team_id"), "team", ["team_id"], ["id"], ondelete="SET NULL")

    _give_slugs()
    with op.batch_alter_table("folder", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_wished", sa.Boolean(), nullable=False, server_default=sa.false()))

    with op.batch_alter_table("organisation", schema=None) as batch_op:
        batch_op.add_column(sa.Column("uses_mail", sa.Boolean(), nullable=False, server_default=sa.true()))

    with op.batch_alter_table("provider", schema=None) as batch_op:
        batch_op.add_column(sa.Column("service_type", sa.String(length=20), nullable=False, server_default="other"))
        batch_op.add_column(sa.Column("methods", sa.String(length=60), nullable=False, server_default="password"))
        batch_op.add_column(sa.Column("files_sent", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("most_connections", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("least_minutes", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("catalogue_key", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("catalogue_copy", sa.JSON(none_as_null=True), nullable=True))
        batch_op.create_unique_constraint(batch_op.f("uq_provider_catalogue_key"), ["catalogue_key"])

    with op.batch_alter_table("provider_server", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_provider_server_provider_id_direction"), type_="unique")
        batch_op.create_unique_constraint(
            batch_op.f("uq_provider_server_provider_id_protocol"), ["provider_id", "protocol"]
        )


def _give_slugs() -> None:
    """Make account ids of the addresses that are here; what is free counts for live and dying accounts alike."""
    account = sa.table("account", sa.column("id"), sa.column("address"), sa.column("slug"))
    connection, taken = op.get_bind(), set()
    for id_, address in connection.execute(sa.select(account.c.id, account.c.address).order_by(account.c.id)).all():
        slug = re.sub(r"[^a-z0-9]+", "-", address.lower())[:50].strip("-") or "account"
        slug = f"{slug}-{id_}" if slug in taken else slug
        taken.add(slug)
        connection.execute(account.update().where(account.c.id == id_).values(slug=slug))


def downgrade() -> None:
    # What was not known before: POP3, app passwords, Windows names.
    op.execute("DELETE FROM provider_server WHERE protocol = 'pop3'")
    op.execute("DELETE FROM account_server WHERE protocol = 'pop3'")
    op.execute("UPDATE credential SET method = 'password'")
    op.execute("UPDATE provider SET login_format = 'by hand' WHERE login_format = 'windows'")
    with op.batch_alter_table("provider_server", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_provider_server_provider_id_protocol"), type_="unique")
        batch_op.create_unique_constraint(
            batch_op.f("uq_provider_server_provider_id_direction"), ["provider_id", "direction"]
        )

    with op.batch_alter_table("provider", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_provider_catalogue_key"), type_="unique")
        batch_op.drop_column("catalogue_copy")
        batch_op.drop_column("catalogue_key")
        batch_op.drop_column("least_minutes")
        batch_op.drop_column("most_connections")
        batch_op.drop_column("files_sent")
        batch_op.drop_column("methods")
        batch_op.drop_column("service_type")

    with op.batch_alter_table("organisation", schema=None) as batch_op:
        batch_op.drop_column("uses_mail")

    with op.batch_alter_table("folder", schema=None) as batch_op:
        batch_op.drop_column("is_wished")

    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_account_team_id"), type_="foreignkey")
        batch_op.drop_index(
            "ix_account_state",
            sqlite_where=sa.text("deleting_at IS NULL"),
            postgresql_where=sa.text("deleting_at IS NULL"),
        )
        batch_op.drop_index(
            "uq_account_slug",
            sqlite_where=sa.text("deleting_at IS NULL"),
            postgresql_where=sa.text("deleting_at IS NULL"),
        )
        batch_op.drop_index(
            "uq_account_primary",
            sqlite_where=sa.text("is_primary AND deleting_at IS NULL"),
            postgresql_where=sa.text("is_primary AND deleting_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_account_team_id"))
        batch_op.drop_column("sent_folder")
        batch_op.drop_column("new_contacts")
        batch_op.drop_column("sent_copies")
        batch_op.drop_column("login_format")
        batch_op.drop_column("protocol")
        batch_op.drop_column("sender_address")
        batch_op.drop_column("notes")
        batch_op.drop_column("is_primary")
        batch_op.drop_column("team_id")
        batch_op.drop_column("slug")

    op.drop_table("pop_message")
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_contact_account_id"))

    op.drop_table("contact")
    op.drop_table("team")
    op.drop_table("lookup")
