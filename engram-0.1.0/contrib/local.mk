# contrib: this folder's part of the Makefile.

# ---- packaging: the two commands of the README and the list of packages ----
EXTRA_DIST += contrib/check contrib/packages contrib/quickstart

# Everything compiled that the tests need, without running them.
check-programs: $(check_PROGRAMS)

.PHONY: check-programs

# ---- other rooms add their blocks below, each under a line like this one ----
