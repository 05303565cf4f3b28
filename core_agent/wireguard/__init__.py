"""The tunnel's peers: facts from ``wg``, a pure plan, and the calls that carry it out."""
