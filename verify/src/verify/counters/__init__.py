"""`verify counters` counts through all replicas, breaks things meanwhile, and checks the answers.

It works like Jepsen: its clients record their requests, the times and the answers, and use nothing else of the service.
A history is right if it is linearizable (Herlihy and Wing, ACM TOPLAS 12(3), 1990). That means: the counter could have
been a single number, which every operation changed or read at one instant between its beginning and its end.
"""
