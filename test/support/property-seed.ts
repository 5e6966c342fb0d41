/**
 * Every run draws the same random cases, so that a change fails by what it changed. `PROPERTY_SEED`
 * draws others: a number, or `random`.
 */
import fc from 'fast-check'

const { PROPERTY_SEED = '1' } = process.env
if (PROPERTY_SEED !== 'random') fc.configureGlobal({ seed: Number(PROPERTY_SEED) })
