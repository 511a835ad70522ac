# etc: this folder's part of the Makefile.
# The commented default file and examples, installed as documents: what is in
# /etc/engram belongs to the operator, and an empty one is a good configuration.
dist_doc_DATA = etc/engram.toml
exampledir = $(docdir)/examples
dist_example_DATA = etc/examples/read-heavy.toml etc/examples/write-heavy.toml \
	etc/examples/ssd.toml etc/examples/hdd.toml
