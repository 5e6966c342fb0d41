/** The package's entries, each with the file it is built from. */
export const entries: Readonly<Record<string, string>> = {
  'blossom-stack': 'src/index.ts',
  'blossom-stack/batches': 'src/batches/index.ts',
  'blossom-stack/client': 'src/client/index.ts',
  'blossom-stack/core': 'src/core.ts',
  'blossom-stack/http': 'src/gateway/index.ts',
  'blossom-stack/redis': 'src/redis/index.ts',
  'blossom-stack/telemetry': 'src/telemetry/index.ts',
  'blossom-stack/testing': 'src/testing/index.ts',
}
