"""Students in traffic: asked, brought into service step by step, and audited there."""
