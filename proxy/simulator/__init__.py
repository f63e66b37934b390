"""The built-in provider, with an invoice of its own. It imports nothing of the rest of Farebox.

An OpenAI-compatible server on a real socket whose answers are deterministic and say that they are
simulated. What it answers can be steered by a marker in a prompt, ``[[sim: output_tokens=20]]``, or by
the model's name, ``sim-output-tokens-20``; ``controls.py`` lists every control.
"""

from proxy.simulator.app import API_KEY, Simulator, create_app
from proxy.simulator.controls import Controls
from proxy.simulator.invoice import Invoice, InvoiceLine, Outcome
from proxy.simulator.server import serve

__all__ = [
    "API_KEY",
    "Controls",
    "Invoice",
    "InvoiceLine",
    "Outcome",
    "Simulator",
    "create_app",
    "serve",
]
