import { defineConfig } from 'vitest/config'

// unit: no Kubernetes needed. real: a real kube-apiserver. node: a whole node with pods, as root.
const real = 'test/**/*.real.test.ts'
const node = 'test/**/*.node.test.ts'

export default defineConfig({
  test: {
    reporters: ['default', './scripts/counts-reporter.ts'],
    // An upper bound only: a busy machine needs more than the second of the default.
    expect: { poll: { timeout: 10_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          sequence: { groupOrder: 0 },
          include: ['test/**/*.test.ts'],
          exclude: [real, node],
          testTimeout: 15_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'real',
          sequence: { groupOrder: 1 },
          include: [real],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'node',
          sequence: { groupOrder: 2 },
          include: [node],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
