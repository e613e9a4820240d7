# Empties DIR, which holds the parts of the last run's report.
file(REMOVE_RECURSE ${DIR})
file(MAKE_DIRECTORY ${DIR})
