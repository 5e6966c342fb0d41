import { rmSync } from 'node:fs'
import { defineConfig } from 'tsup'

// Removed here once: tsup's own `clean` runs per format and may delete what the other has just
// written.
rmSync('dist', { recursive: true, force: true })

export default defineConfig({
  entry: { index: 'src/index.ts', http: 'src/gateway/index.ts', testing: 'src/testing/index.ts' },
  format: ['esm', 'cjs'],
  target: 'node20.19',
  platform: 'node',
  dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
  clean: false,
  splitting: true,
  treeshake: true,
  sourcemap: true,
  esbuildOptions(options, { format }) {
    // CommonJS has no import.meta; what needs it takes a file's name as well.
    if (format === 'cjs') options.define = { ...options.define, 'import.meta.url': '__filename' }
  },
})
