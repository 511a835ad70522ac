# master: this folder's part of the Makefile.
