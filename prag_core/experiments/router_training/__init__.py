"""Which strategy answers a question: what a router sees of it, the router, and how one is trained."""
