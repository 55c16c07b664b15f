"""The control plane's HTTP face: parse, call one use case, render. Rules live in ``server``.

``application.create_app`` makes the Litestar application around an opened control plane; it neither
opens nor closes one, and it does not listen: that is the composition root's work.
"""
