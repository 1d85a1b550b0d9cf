"""The composition root: Settings -> every object of every process. The only room that knows all the others.

run.py starts a gateway, plan.py says which processes it has; each of them is a file (scorers, listener, admin,
http_door, learn_door). What they are put together from is in compose.py and pipeline.py, what a command opens in
command_line.py.

Heavy rooms (rules, classifier, web) are imported inside the function that needs them, so that a listener stays light
(DESIGN §7).
"""
