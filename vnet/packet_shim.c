// SPDX-License-Identifier: GPL-2.0
/* Packets, as functions: what linux/skbuff.h and linux/virtio_net.h have as inlines. */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/skbuff.h>
#include <linux/virtio_net.h>
#include "netdev.h"

/* Bytes of a packet that are not in pages of their own: headers, or all of a small one. */
#define SMALL 2048
#define HEADERS 256

u32 adeos_packet_length(struct sk_buff *skb)
{
	return skb->len;
}

/* The bytes of a packet, piece by piece. There are none in pages that are not mapped. */
bool adeos_packet_piece(struct sk_buff *skb, u32 number, u8 **bytes, u32 *count)
{
	const skb_frag_t *frag;

	if (!number) {
		*bytes = skb->data;
		*count = skb_headlen(skb);
		return true;
	}
	if (number > skb_shinfo(skb)->nr_frags)
		return false;
	frag = &skb_shinfo(skb)->frags[number - 1];
	*bytes = skb_frag_address(frag);
	*count = skb_frag_size(frag);
	return true;
}

/* What whoever takes the packet has to do with it; whether that can be said. */
bool adeos_packet_offload(struct sk_buff *skb, u8 *offload)
{
	struct virtio_net_hdr header;

	if (skb_has_frag_list(skb) || virtio_net_hdr_from_skb(skb, &header, true, true, 0))
		return false;
	memset(offload, 0, 16);
	memcpy(offload, &header, sizeof(header));
	return true;
}

struct sk_buff *adeos_packet_create(struct adeos_netdev *it, u32 number, u32 length)
{
	struct lane *lane = &it->lanes[number];
	struct sk_buff *skb;
	int error;

	if (length <= SMALL) {
		skb = napi_alloc_skb(&lane->napi, length);
		if (skb)
			skb_put(skb, length);
	} else {
		skb = alloc_skb_with_frags(NET_SKB_PAD + NET_IP_ALIGN + HEADERS, length - HEADERS,
					   PAGE_ALLOC_COSTLY_ORDER, &error, GFP_ATOMIC);
		if (skb) {
			skb_reserve(skb, NET_SKB_PAD + NET_IP_ALIGN);
			skb_put(skb, HEADERS);
			skb->data_len = length - HEADERS;
			skb->len += length - HEADERS;
		}
	}
	if (skb)
		skb->dev = it->dev;
	else
		lane->rx_dropped++;
	return skb;
}

void adeos_packet_receive(struct adeos_netdev *it, u32 number, struct sk_buff *skb, const u8 *offload)
{
	struct lane *lane = &it->lanes[number];
	struct virtio_net_hdr header;
	unsigned int length = skb->len;

	memcpy(&header, offload, sizeof(header));
	if (header.flags & VIRTIO_NET_HDR_F_DATA_VALID)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (virtio_net_hdr_to_skb(skb, &header, true)) {
		lane->rx_frame_errors++;
		goto drop;
	}
	/* A VLAN in a VLAN has the MTU of the device as well: Linux makes it so. */
	if (!skb_is_gso(skb) && length > it->dev->mtu + ETH_HLEN + 2 * VLAN_HLEN) {
		lane->rx_length_errors++;
		goto drop;
	}
	lane->rx_packets += skb_is_gso(skb) ? max_t(u32, skb_shinfo(skb)->gso_segs, 1) : 1;
	lane->rx_bytes += length;
	skb->protocol = eth_type_trans(skb, it->dev);
	skb_record_rx_queue(skb, number);
	napi_gro_receive(&lane->napi, skb);
	return;
drop:
	kfree_skb(skb);
}

/* It was not what was sent. */
void adeos_packet_drop(struct sk_buff *skb)
{
	kfree_skb(skb);
}
