"""How often the verdict is wrong: real executions of models whose true slowdown is known, judged by the lab.

Recording (``record``) and judging (``judge``) are apart: traces are kept, and judged again at no cost.
"""
