import { defineConfig } from 'vitest/config'

const typecheck = {
  enabled: true,
  include: ['test/types/**/*.test-d.ts'],
  tsconfig: './tsconfig.json',
  ignoreSourceErrors: true,
}

export default defineConfig({
  test: {
    // Vitest would leave one core free, which on two cores is half of them.
    maxWorkers: '100%',
    projects: [
      {
        test: {
          name: 'unit',
          testTimeout: 30_000,
          include: ['test/**/*.test.ts'],
          exclude: ['test/system/**'],
          setupFiles: ['test/support/property-seed.ts'],
          typecheck,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          globalSetup: ['test/support/packed.ts'],
          testTimeout: 120_000,
          // For a machine that has other things to do.
          expect: { poll: { timeout: 15_000 } },
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
