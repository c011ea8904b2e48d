"""How masks are gathered: prompts of three kinds, filters, and what a round of training brings."""
