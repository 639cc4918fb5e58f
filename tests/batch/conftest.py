from hypothesis import settings

# The first call into torch takes longer than hypothesis' deadline allows; tests assert no timings anyway.
settings.register_profile("recfold", deadline=None)
settings.load_profile("recfold")
