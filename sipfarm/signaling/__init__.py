"""The transaction users of a member: registrar, authentication, routing, dialogs. Sans-IO."""
