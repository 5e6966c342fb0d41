import packageJson from '../../package.json' with { type: 'json' }

/** This package's version, for the `user-agent` header. */
export const VERSION: string = packageJson.version
