"""`verify counters`: counts through all replicas, breaks things meanwhile, and checks what was answered.

In the manner of Jepsen: clients that know nothing of how the service works record what they asked for, when, and what
came back. A history is right if the counter could have been one number in one place that every operation changed or
read at one instant between its beginning and its end: if it is linearizable (Herlihy and Wing, ACM TOPLAS 12(3), 1990).
"""
