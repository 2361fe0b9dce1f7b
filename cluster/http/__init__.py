"""HTTP side of the endpoint: routes, request validation, OpenAI's wire format, and the page."""
