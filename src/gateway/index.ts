export { type ApiKey, DEFAULT_GATEWAY_CONFIG, type GatewayConfig, type GatewayTimeouts } from './config.js';
export { createGateway, createGatewayMetrics, type Gateway, type GatewayOptions } from './gateway.js';
