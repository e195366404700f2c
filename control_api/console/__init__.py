"""Console: the pages for people in browsers, and their assets. Nothing is fetched from elsewhere."""

from control_api.console import definitions, home, messages, records, sign_in

# In this order: the pages of kinds take what no other page does.
PAGES = (sign_in.router, home.router, messages.router, records.router, definitions.router)
