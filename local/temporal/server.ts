/** A Temporal server on this machine: finding its program, and running it. */
export { findTemporalCli, type FoundCli } from './find-cli';
export { startTemporalServer, type TemporalServer, type TemporalServerOptions } from './start-server';
