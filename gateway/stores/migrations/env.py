"""Alembic's entry: runs on the connection that engine.migrate() opened."""

from alembic import context

from gateway.stores.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
