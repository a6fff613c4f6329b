import { createApp } from 'vue'

import App from './App.vue'
import { clusterKey, createClusterStore } from './stores/cluster'
import './style.css'
import { connectFeed } from './wire/feed'

createApp(App).provide(clusterKey, createClusterStore(connectFeed())).mount('#app')
