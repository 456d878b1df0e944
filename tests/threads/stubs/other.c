/* other.c: a library that has nothing to do with threads. */
int other(void);

int other(void) { return 0; }
