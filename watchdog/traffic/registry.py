"""Every kind of traffic switch, and where it is."""

from __future__ import annotations

KINDS = {
    "command": "watchdog.traffic.command:CommandSwitch",
    "gateway-httproute": "watchdog.traffic.gateway_httproute:GatewayHTTPRouteSwitch",
    "haproxy": "watchdog.traffic.haproxy:HAProxySwitch",
    "istio-virtualservice": "watchdog.traffic.istio_virtualservice:IstioVirtualServiceSwitch",
    "kubernetes-deployment": "watchdog.traffic.kubernetes_deployment:KubernetesDeploymentSwitch",
    "kubernetes-ingress": "watchdog.traffic.kubernetes_ingress:KubernetesIngressSwitch",
    "kubernetes-service": "watchdog.traffic.kubernetes_service:KubernetesServiceSwitch",
    "nginx": "watchdog.traffic.nginx:NginxSwitch",
}
