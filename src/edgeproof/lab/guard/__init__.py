"""The guard: small pure rules, each with an id, one file per family; and what they come to together.

It informs a decision and never owns it. ``analyse`` runs the rules that the signed evidence of a pair can
feed; the other families take explicit inputs (detections, frames, earlier results) and do no I/O either.
"""
