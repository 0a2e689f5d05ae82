"""HTML pages of tables, documents and responses, each complete in one file."""
