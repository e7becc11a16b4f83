"""Lockers that are made of other things: of any store, or of two lockers.

locker = ObjectLocker(store)
locker = BothLockers(dynamodb_locker, object_locker)
"""
