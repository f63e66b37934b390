"""Tables, and the queries over them. Every query has a name and a sentence."""
