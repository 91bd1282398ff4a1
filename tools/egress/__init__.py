"""Where the platform may connect for a tool: what a host is, where it leads to, which rules let it through."""
