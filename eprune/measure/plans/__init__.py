"""What passes need that has to be measured first: a module for each such pass, ``planned(system, options, progress)``.

It gives the options with the plan. ``eprune apply`` calls it where there is one of the pass's name.
"""
