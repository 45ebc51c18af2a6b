#!/usr/bin/env node
import { runCli } from './program.js';

// A reader that has seen enough (`maestro … | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await runCli(process.argv.slice(2));
