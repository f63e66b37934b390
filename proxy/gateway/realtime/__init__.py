"""Realtime: sessions over a websocket, proxied both ways and metered response by response."""
