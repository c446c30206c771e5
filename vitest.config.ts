import { defineConfig } from 'vitest/config'

// unit: no Kubernetes needed. isolated: the same, with modules replaced. sessions: the program as people start
// it, and other programs that take their time. real: a real kube-apiserver, and what measures
// time and needs it for itself. node: a whole node with pods, as root.
// long: an hour and more, by hand.
const isolated = 'test/**/*.isolated.test.ts'
const sessions = ['test/sessions/**/*.test.ts', 'test/image/**/*.test.ts']
const slow = 'test/**/*.slow.test.ts'
const real = 'test/**/*.real.test.ts'
const node = 'test/**/*.node.test.ts'
const long = 'test/**/*.long.test.ts'
const bySuffix = [isolated, slow, real, node, long]

// Nobody waits for CI, and with more its two cores would be late for what tests of time expect.
const WORKERS = process.env['CI'] === 'true' ? 2 : 3

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
          exclude: [...bySuffix, ...sessions],
          // Most of the time would go into starting processes and loading the same modules.
          isolate: false,
          maxWorkers: WORKERS,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'isolated',
          sequence: { groupOrder: 0 },
          include: [isolated],
          maxWorkers: WORKERS,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'sessions',
          // After the fast ones: dozens of processes would make tests of time wait.
          sequence: { groupOrder: 1 },
          include: sessions,
          exclude: bySuffix,
          isolate: false,
          maxWorkers: WORKERS,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'real',
          sequence: { groupOrder: 2 },
          include: [real, slow],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'node',
          sequence: { groupOrder: 3 },
          include: [node],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'long',
          sequence: { groupOrder: 4 },
          include: [long],
          testTimeout: 5_400_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
})
