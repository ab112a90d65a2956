"""Publishing: the Markdown pages whose tables are drawn from records, and the static site."""
