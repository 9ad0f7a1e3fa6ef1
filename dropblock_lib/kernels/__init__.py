"""How masks are made fast. Nothing here is public, and all of it is tested."""
