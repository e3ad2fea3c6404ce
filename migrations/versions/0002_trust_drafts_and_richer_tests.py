"""Trust, drafts and richer tests

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unproved_test",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tested_by", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("tested_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unproved_test")),
    )
    with op.batch_alter_table("unproved_test", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_unproved_test_host"), ["host"], unique=False)
        batch_op.create_index(batch_op.f("ix_unproved_test_tested_at"), ["tested_at"], unique=False)

    op.create_table(
        "draft",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["secret_id"], ["sealed_secret.id"], name=op.f("fk_draft_secret_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draft")),
    )
    op.create_table(
        "provider_certificate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["provider.id"], name=op.f("fk_provider_certificate_provider_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_certificate")),
        sa.UniqueConstraint("provider_id", "sha256", name=op.f("uq_provider_certificate_provider_id_sha256")),
    )
    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.add_column(sa.Column("incoming_pin", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("outgoing_pin", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("outgoing_since", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("connection_check", schema=None) as batch_op:
        batch_op.add_column(sa.Column("draft_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("address", sa.String(length=254), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("servers", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("users", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("user_name", sa.String(length=254), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("message_to", sa.String(length=254), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("awaits", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("in_turn", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.alter_column("account_id", existing_type=sa.INTEGER(), nullable=True)
        batch_op.create_foreign_key(
            batch_op.f("fk_connection_check_draft_id"), "draft", ["draft_id"], ["id"], ondelete="SET NULL"
        )

    with op.batch_alter_table("provider", schema=None) as batch_op:
        batch_op.add_column(sa.Column("minimum_tls", sa.String(length=20), nullable=False, server_default="1.2"))


    with op.batch_alter_table("sync_run", schema=None) as batch_op:
        batch_op.add_column(sa.Column("diagnosis", sa.JSON(), nullable=True))
        batch_op.create_index(batch_op.f("ix_sync_run_finished_at"), ["finished_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("sync_run", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sync_run_finished_at"))
        batch_op.drop_column("diagnosis")

    op.execute("DELETE FROM connection_check WHERE account_id IS NULL")  # Tests of drafts had no place before.
    with op.batch_alter_table("provider", schema=None) as batch_op:
        batch_op.drop_column("minimum_tls")

    with op.batch_alter_table("connection_check", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_connection_check_draft_id"), type_="foreignkey")
        batch_op.alter_column("account_id", existing_type=sa.INTEGER(), nullable=False)
        batch_op.drop_column("in_turn")
        batch_op.drop_column("awaits")
        batch_op.drop_column("message_to")
        batch_op.drop_column("user_name")
        batch_op.drop_column("users")
        batch_op.drop_column("servers")
        batch_op.drop_column("address")
        batch_op.drop_column("draft_id")

    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.drop_column("outgoing_since")
        batch_op.drop_column("outgoing_pin")
        batch_op.drop_column("incoming_pin")

    op.drop_table("provider_certificate")
    op.execute("CREATE TEMPORARY TABLE draft_secret AS SELECT secret_id FROM draft")
    op.drop_table("draft")
    op.execute("DELETE FROM sealed_secret WHERE id IN (SELECT secret_id FROM draft_secret)")
    op.execute("DROP TABLE draft_secret")
    with op.batch_alter_table("unproved_test", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_unproved_test_tested_at"))
        batch_op.drop_index(batch_op.f("ix_unproved_test_host"))

    op.drop_table("unproved_test")
