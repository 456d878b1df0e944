/* fake_tree.h: a folder under /tmp that stands for "/", with files of /proc and /sys/fs/cgroup in it. */
#ifndef DR_TESTS_THREADS_FAKE_TREE_H
#define DR_TESTS_THREADS_FAKE_TREE_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/threads/test.h"

typedef struct fake_tree {
  char root[64];
} fake_tree;

static inline fake_tree fake_tree_make(void) {
  fake_tree tree = {"/tmp/drover-tree-XXXXXX"};
  cr_assert(mkdtemp(tree.root) != NULL, "no folder under /tmp");
  return tree;
}

/* Write `text` to root + path, making the folders on the way. */
static inline void fake_tree_write(const fake_tree *tree, const char *path, const char *text) {
  char full[1024];
  snprintf(full, sizeof full, "%s%s", tree->root, path);
  for (char *slash = strchr(full + strlen(tree->root) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(full, 0755);
    *slash = '/';
  }
  FILE *file = fopen(full, "w");
  cr_assert(file != NULL, "%s cannot be written", full);
  fputs(text, file);
  fclose(file);
}

static inline int fake_tree_remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
  (void)info, (void)kind, (void)at;
  return remove(path);
}

static inline void fake_tree_remove(const fake_tree *tree) {
  nftw(tree->root, fake_tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
