export { base } from './core/base.js'
