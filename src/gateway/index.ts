export { type ApiKey, DEFAULT_GATEWAY_CONFIG, type GatewayConfig, type GatewayTimeouts } from './config.js';
export type { DoorCredentials } from './door-tls.js';
export { createGateway, createGatewayMetrics, type Gateway, type GatewayOptions } from './gateway.js';
