"""The web page at ``/ui``: made on the server, from the same queries as reports and the admin API."""
